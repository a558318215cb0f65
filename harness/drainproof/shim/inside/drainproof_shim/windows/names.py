"""What the modules of the standard library hold on Windows, as far as it differs from Linux.

Recorded on Windows builds of CPython 3.9 to 3.13 where `tests/shim/golden/windows` has it, from CPython's source and
documentation otherwise.
"""

from __future__ import annotations

import sys

_OS = """
    DirEntry F_OK Mapping MutableMapping GenericAlias O_APPEND O_BINARY O_CREAT O_EXCL O_NOINHERIT O_RANDOM
    O_RDONLY O_RDWR O_SEQUENTIAL O_SHORT_LIVED O_TEMPORARY O_TEXT O_TRUNC O_WRONLY P_DETACH P_NOWAIT P_NOWAITO P_OVERLAY
    P_WAIT PathLike R_OK SEEK_CUR SEEK_END SEEK_SET TMP_MAX W_OK X_OK abc abort access add_dll_directory altsep chdir
    chmod close closerange cpu_count curdir defpath device_encoding devnull dup dup2 environ error execl execle execlp
    execlpe execv execve execvp execvpe extsep fdopen fsdecode fsencode fspath fstat fsync ftruncate get_exec_path
    get_handle_inheritable get_inheritable get_terminal_size getcwd getcwdb getenv getlogin getpid getppid isatty kill
    linesep link listdir lseek lstat makedirs mkdir name open pardir path pathsep pipe popen putenv read readlink remove
    removedirs rename renames replace rmdir scandir sep set_handle_inheritable set_inheritable spawnl spawnle spawnv
    spawnve st startfile stat stat_result statvfs_result strerror supports_bytes_environ supports_dir_fd
    supports_effective_ids supports_fd supports_follow_symlinks symlink sys system terminal_size times times_result
    truncate umask uname_result unlink unsetenv urandom utime waitpid waitstatus_to_exitcode walk write
    """
_OS_SINCE = {
    "EX_OK": (3, 11),
    "get_blocking": (3, 12),
    "set_blocking": (3, 12),
    "process_cpu_count": (3, 13),
    "fchmod": (3, 13),
    "lchmod": (3, 13),
}

OS = frozenset([*_OS.split(), *(name for name, version in _OS_SINCE.items() if sys.version_info >= version)])
"""The public names of `os`."""

_SIGNAL = """
    CTRL_BREAK_EVENT CTRL_C_EVENT Handlers NSIG SIGABRT SIGBREAK SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN
    Signals default_int_handler getsignal raise_signal set_wakeup_fd signal strsignal valid_signals
    """

SIGNAL = frozenset(_SIGNAL.split())
"""The public names of `signal`."""

SELECT = frozenset(["error", "select"])
SELECTORS = frozenset(["EpollSelector", "PollSelector", "DevpollSelector", "KqueueSelector"])
"""The public names of `select`; what `selectors` lacks."""

SYS = frozenset(["abiflags", "getdlopenflags", "setdlopenflags"])
"""What `sys` lacks."""

SOCKET_PREFIXES = (
    *("ALG_", "BTPROTO_", "BT_", "BDADDR_", "CAN_", "HCI_", "HVSOCKET_", "IOCTL_", "ISOTP_", "J1939_", "NETLINK_"),
    *("NI_IDN", "PACKET_", "PF_", "SCM_", "SOL_ALG", "SOL_ATALK", "SOL_AX25", "SOL_CAN", "SOL_HCI", "SOL_RDS"),
    *("SOL_TIPC", "SOL_UDPLITE", "TIPC_", "UDPLITE_", "VMADDR_", "SO_VM_", "AF_", "MSG_", "TCP_", "SO_", "SOCK_"),
)
"""Names in `socket` that begin like this are not there on Windows, except:"""

_SOCKET = """
    AF_APPLETALK AF_DECnet AF_INET AF_INET6 AF_IPX AF_IRDA AF_SNA AF_UNSPEC MSG_BCAST MSG_CTRUNC MSG_DONTROUTE
    MSG_ERRQUEUE MSG_MCAST MSG_OOB MSG_PEEK MSG_TRUNC MSG_WAITALL SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET
    SOCK_STREAM SO_ACCEPTCONN SO_BROADCAST SO_DEBUG SO_DONTROUTE SO_ERROR SO_EXCLUSIVEADDRUSE SO_KEEPALIVE SO_LINGER
    SO_OOBINLINE SO_RCVBUF SO_RCVLOWAT SO_RCVTIMEO SO_REUSEADDR SO_SNDBUF SO_SNDLOWAT SO_SNDTIMEO SO_TYPE
    SO_USELOOPBACK TCP_KEEPCNT TCP_KEEPIDLE TCP_KEEPINTVL TCP_MAXSEG TCP_NODELAY
    """

SOCKET = frozenset(_SOCKET.split())

SOCKET_MORE = frozenset(["CMSG_LEN", "CMSG_SPACE", "recv_fds", "send_fds", "sethostname"])
"""Single names that `socket` lacks."""

_ASYNCIO = """
    AbstractChildWatcher FastChildWatcher MultiLoopChildWatcher PidfdChildWatcher SafeChildWatcher ThreadedChildWatcher
    open_unix_connection start_unix_server
    """

ASYNCIO = frozenset(_ASYNCIO.split())
"""What `asyncio` lacks."""

SUBPROCESS = {
    "ABOVE_NORMAL_PRIORITY_CLASS": 0x8000,
    "BELOW_NORMAL_PRIORITY_CLASS": 0x4000,
    "CREATE_BREAKAWAY_FROM_JOB": 0x1000000,
    "CREATE_DEFAULT_ERROR_MODE": 0x4000000,
    "CREATE_NEW_CONSOLE": 0x10,
    "CREATE_NEW_PROCESS_GROUP": 0x200,
    "CREATE_NO_WINDOW": 0x8000000,
    "DETACHED_PROCESS": 0x8,
    "HIGH_PRIORITY_CLASS": 0x80,
    "IDLE_PRIORITY_CLASS": 0x40,
    "NORMAL_PRIORITY_CLASS": 0x20,
    "REALTIME_PRIORITY_CLASS": 0x100,
    "STARTF_USESHOWWINDOW": 0x1,
    "STARTF_USESTDHANDLES": 0x100,
    "STD_ERROR_HANDLE": -12,
    "STD_INPUT_HANDLE": -10,
    "STD_OUTPUT_HANDLE": -11,
    "SW_HIDE": 0,
}
"""The constants that `subprocess` has in addition."""

_NO_MODULES = """
    _crypt _curses _curses_panel _dbm _gdbm _posixshmem _posixsubprocess fcntl grp nis ossaudiodev posix pwd readline
    resource spwd syslog termios uvloop
    """

NO_MODULES = {
    **{name: name for name in _NO_MODULES.split()},
    "curses": "_curses",
    "pty": "termios",
    "tty": "termios",
}
"""Top-level modules that cannot be imported, and the name of the module that their import misses."""
