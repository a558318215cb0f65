"""The container launcher: a target as PID 1 of a container, on whatever Docker engine `DOCKER_HOST` names."""
