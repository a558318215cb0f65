"""How the gRPC library is told to try once, and only there: the same for the load engine and for single attempts."""

from __future__ import annotations

FOREVER = 2**31 - 1


def channel_options(*, authority: str) -> list[tuple[str, str | int]]:
    """The options of a channel to `authority` ("127.0.0.1:8033").

    The deadlines are the harness's own, so the library gets none: its limit on a connection attempt would otherwise
    take a server that keeps a client waiting for one that is not there.
    """
    return [
        ("grpc.default_authority", authority),
        ("grpc.primary_user_agent", "drainproof"),
        ("grpc.enable_retries", 0),  # also no transparent ones: one attempt is one record
        ("grpc.service_config_disable_resolution", 1),  # no retry policy from elsewhere
        ("grpc.use_local_subchannel_pool", 1),  # a channel's connection is its own, also at the same address
        ("grpc.enable_http_proxy", 0),
        ("grpc.min_reconnect_backoff_ms", FOREVER),  # in fact the time that one connection attempt may take
        ("grpc.max_reconnect_backoff_ms", FOREVER),
        ("grpc.initial_reconnect_backoff_ms", FOREVER),  # a second attempt is never made
        ("grpc.max_receive_message_length", -1),
        ("grpc.http2.bdp_probe", 0),  # it would ping, and what answers is the target's library, not its application
        ("grpc.enable_channelz", 0),
    ]
