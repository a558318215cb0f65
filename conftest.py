"""What the project's own tests share: an inner pytest, by which the plugin is tested."""

pytest_plugins = ["pytester"]
