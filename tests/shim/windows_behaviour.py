"""Run as a target's own program: records how processes, signals and modules behave, by name."""

import asyncio
import concurrent.futures
import importlib
import importlib.util
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading


def said(function, *arguments, **keywords):
    try:
        return repr(function(*arguments, **keywords))
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def sleeper():
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def after(act, child):
    act(child)
    return child.wait()


def ended(code):
    """The exit status of a program that runs `code`."""
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode


def double(number):
    return [2 * number, sys.platform, multiprocessing.get_start_method()]


def sleep_on():
    threading.Event().wait(60)


def spawned(end):
    process = multiprocessing.Process(target=sleep_on)
    process.start()
    getattr(process, end)()
    process.join()
    return process.exitcode


def raised(number):
    heard = []
    before = signal.signal(number, lambda signum, frame: heard.append(signum))
    signal.raise_signal(number)
    signal.signal(number, before)
    return heard


def shared():
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        sock.bind(("127.0.0.1", 0))
        with socket.fromshare(sock.share(os.getpid())) as again:
            return again.getsockname() == sock.getsockname() and again.fileno() != sock.fileno()


def locked():
    import msvcrt

    with tempfile.TemporaryFile() as file:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    return True


async def echo():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    line = await reader.readline()
    writer.close()
    server.close()
    in_thread = await asyncio.get_running_loop().run_in_executor(None, lambda: 42)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(1)", stdout=asyncio.subprocess.PIPE)
    printed, _ = await child.communicate()
    return [line.decode(), in_thread, printed.decode(), child.returncode]


async def terminated():
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    child.terminate()
    return await child.wait()


def star():
    names = {}
    exec("from os import *", names)
    return ["fork" in names, "kill" in names]


def main():
    import outsider

    record = {
        "vars": vars(sys)["platform"],
        "eval": [eval("sys.platform"), eval("__import__('sys').platform", {})],
        "dict": ["fork" in os.__dict__, "fork" in dir(os), "SIGKILL" in dir(signal), "SIGBREAK" in vars(signal)],
        "star": star(),
        "import_module": said(importlib.import_module, "fcntl"),
        "find_spec": said(importlib.util.find_spec, "fcntl"),
        "import os.fork": said(exec, "from os import fork", {"__file__": __file__}),
        "new module": type(importlib.util.module_from_spec(importlib.util.find_spec("this"))) is type(outsider),
        "isinstance": isinstance(outsider, type(sys)),
        "share": shared(),
        "msvcrt": locked(),
        "names": [signal.Signals(21).name, signal.Signals.SIGBREAK is signal.SIGBREAK, signal.strsignal(2)],
        "os.kill 15": after(lambda child: os.kill(child.pid, signal.SIGTERM), sleeper()),
        "os.kill 9": after(lambda child: os.kill(child.pid, 9), sleeper()),
        "os.kill 22": ended("import os; os.kill(os.getpid(), 22)"),
        "os.kill self": ended("import os, signal; signal.signal(15, print); os.kill(os.getpid(), 15)"),
        "terminate": after(lambda child: child.terminate(), sleeper()),
        "kill": after(lambda child: child.kill(), sleeper()),
        "send_signal 15": after(lambda child: child.send_signal(signal.SIGTERM), sleeper()),
        "break at once": after(lambda child: child.send_signal(signal.CTRL_BREAK_EVENT), sleeper()),
        "raise 15": [raised(signal.SIGTERM), ended("import signal; signal.raise_signal(15)")],
        "raise 21": [raised(signal.SIGBREAK), ended("import signal; signal.raise_signal(21)")],
        "raise 22": [raised(signal.SIGABRT), ended("import os; os.abort()")],
        "raise 9": said(signal.raise_signal, 9),
        "exit -1": ended("import sys; sys.exit(-1)"),
        "KeyboardInterrupt": ended("raise KeyboardInterrupt"),
        "spawned": [spawned("terminate"), spawned("kill")],
        "set_start_method": said(multiprocessing.set_start_method, "spawn", force=True),
        "server, thread, child": asyncio.run(echo()),
        "asyncio terminate": asyncio.run(terminated()),
        "communicate": subprocess.run(
            [sys.executable, "-c", "print(input())"], input=b"x\n", stdout=-1, check=True
        ).stdout.decode(),
        "outsider": outsider.look(),
    }
    child = sleeper()
    record["send_signal 2"] = said(child.send_signal, signal.SIGINT)
    child.kill()
    child.wait()
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        record["pool"] = pool.submit(double, 21).result(30)
    json.dump(record, sys.stdout)


if __name__ == "__main__":
    main()
