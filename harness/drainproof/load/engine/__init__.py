"""The load engine: Locust, gevent and the judging client. It runs in a process of its own; nothing else imports it."""
