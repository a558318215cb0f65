"""Run as a target's own program: records what it finds, under the keys of `golden/windows/attrs-3.*.json`."""

import asyncio
import json
import multiprocessing
import os
import platform
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile


def said(function, *arguments, **keywords):
    try:
        return repr(function(*arguments, **keywords))
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


async def did(call, *arguments, **keywords):
    try:
        value = call(*arguments, **keywords)
        if asyncio.iscoroutine(value):
            value = await value
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if hasattr(value, "close") and not isinstance(value, tuple):
        value.close()
    if hasattr(value, "wait"):
        await value.wait()
    return f"ok:{type(value).__name__}"


async def loop_record(kind, default):
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    a.setblocking(False)
    read_end, write_end = os.pipe()
    protocol = asyncio.Protocol
    path = tempfile.mkdtemp() + "/socket"
    record = {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "is_default_policy_loop": default,
        "add_signal_handler": await did(loop.add_signal_handler, signal.SIGTERM, print),
        "add_signal_handler_INT": await did(loop.add_signal_handler, signal.SIGINT, print),
        "remove_signal_handler": await did(loop.remove_signal_handler, signal.SIGTERM),
        "add_reader": await did(loop.add_reader, a, print),
        "add_writer": await did(loop.add_writer, a, print),
        "remove_reader": await did(loop.remove_reader, a),
        "create_unix_server": await did(loop.create_unix_server, protocol, path=path),
        "create_unix_connection": await did(loop.create_unix_connection, protocol, path=path),
        "create_server_reuse_port": await did(loop.create_server, protocol, "127.0.0.1", 0, reuse_port=True),
        "create_server": await did(loop.create_server, protocol, "127.0.0.1", 0),
        "subprocess_exec": await did(asyncio.create_subprocess_exec, sys.executable, "-c", "pass"),
        "connect_read_pipe": await did(loop.connect_read_pipe, protocol, os.fdopen(read_end, "rb", 0)),
        "datagram": await did(loop.create_datagram_endpoint, asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)),
        "datagram_reuse_port": await did(
            loop.create_datagram_endpoint, asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0), reuse_port=True
        ),
    }
    if kind is not asyncio.ProactorEventLoop:
        loop.remove_writer(a)
    os.close(write_end)
    b.close()
    await asyncio.sleep(0)
    a.close()
    return record


def loops():
    record = {}
    default = type(asyncio.new_event_loop())
    for name in ("ProactorEventLoop", "SelectorEventLoop"):
        kind = getattr(asyncio, name)
        loop = kind()
        asyncio.set_event_loop(loop)
        record[name] = loop.run_until_complete(loop_record(kind, default is kind))
        loop.close()
    return record


def failing(modules):
    for name in modules:
        try:
            __import__(name)
        except ImportError as error:
            yield f"{name}:{type(error).__name__}:{error}"


def bind_reuseport():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def popen(**keywords):
    return subprocess.Popen([sys.executable, "-c", "pass"], **keywords).wait()


def main():
    golden = json.loads(sys.argv[1])
    present = {name: list(golden[name]) for name in ("signal_funcs", "os", "socket", "select", "asyncio")}
    modules = {"signal_funcs": signal, "os": os, "socket": socket, "select": select, "asyncio": asyncio}
    record = {
        "platform": [sys.platform, os.name, platform.system(), platform.python_implementation()],
        "signals": {name: getattr(signal, name, None) for name in golden["signals"]},
        "valid_signals": sorted(signal.valid_signals()),
        **{key: {name: hasattr(modules[key], name) for name in names} for key, names in present.items()},
        "import_fail": list(failing([text.partition(":")[0] for text in golden["import_fail"]])),
        "DefaultSelector": selectors.DefaultSelector.__name__,
        "mp_methods": [
            multiprocessing.get_all_start_methods(),
            multiprocessing.get_start_method(allow_none=True),
            multiprocessing.get_start_method(),
        ],
        "mp_fork": said(multiprocessing.get_context, "fork"),
        "mp_forkserver": said(multiprocessing.get_context, "forkserver"),
        "loops": loops(),
        "signal.signal(SIGTERM)": said(signal.signal, signal.SIGTERM, print),
        "signal.signal(SIGBREAK)": said(signal.signal, signal.SIGBREAK, print),
        "signal.signal(1)": said(signal.signal, 1, print),
        "signal.signal(9)": said(signal.signal, 9, print),
        "signal.signal(17)": said(signal.signal, 17, print),
        "getpgid": said(lambda: os.getpgid(0)),
        "kill_bogus": said(os.kill, 2**22 + 1, signal.SIGTERM),
        "bind_reuseport": said(bind_reuseport),
        "popen_preexec": said(popen, preexec_fn=print),
        "popen_start_new_session": said(popen, start_new_session=True),
        "popen_pass_fds": said(popen, pass_fds=(1,)),
        "CREATE_NEW_PROCESS_GROUP": said(lambda: hex(subprocess.CREATE_NEW_PROCESS_GROUP)),
    }
    json.dump(record, sys.stdout)


if __name__ == "__main__":
    main()
