"""The load engine: Locust, gevent and the judging client. It runs in a process of its own; nothing else imports it.

`zygote` is that process. It forks a child for each run, in which `run` plays a plan: `streams` decide when a request is
issued, `http` (or `rpc` with its `tap`, for gRPC) carries it out and judges the answer, `book` keeps the account, and
`sink` takes the ledger's lines.
"""
