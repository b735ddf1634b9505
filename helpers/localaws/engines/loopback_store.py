"""Keeps torch's rendezvous on loopback; copied into a container's Python and imported at its start.

torch.distributed.TCPStore listens on every network interface, and has no setting for it; on AWS the job's own network
is around it, here there would be the reader's. The class takes a listening socket, though: one bound to 127.0.0.1.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import re
import socket
import sys
from types import ModuleType
from typing import Any

TORCH = "torch.distributed"
LOOPBACK = "127.0.0.1"
HOST = re.compile(r"algo-[0-9]+")  # torch asks the system's resolver, which does not know a job's hosts


class Finder(importlib.abc.MetaPathFinder):
    """Finds torch.distributed as usual, once, and has its TCPStore replaced when it has been loaded."""

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The usual spec with our loader around its own."""
        del path, target  # the usual finders will be asked with none, as for any top import
        if name != TORCH:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader)
        return spec


class Loader(importlib.abc.Loader):
    """Loads a module by its own loader, then replaces the store."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        made: ModuleType | None = self.own.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Load, then replace the class wherever it has been imported to."""
        self.own.exec_module(module)
        usual = getattr(module, "TCPStore", None)
        if usual is None:  # a torch that was built without distributed
            return
        ours = _on_loopback(usual)
        for name, loaded in list(sys.modules.items()):
            if name.startswith(TORCH) and getattr(loaded, "TCPStore", None) is usual:
                loaded.TCPStore = ours  # type: ignore[attr-defined]


def _on_loopback(usual: Any) -> Any:
    class TCPStore(usual):  # type: ignore[misc]
        def __init__(
            self, host_name: str, port: int, world_size: Any = None, is_master: bool = False, *more: Any, **options: Any
        ) -> None:
            host_name = LOOPBACK if HOST.fullmatch(host_name) else host_name
            listener = _listener(port) if is_master and options.get("master_listen_fd") is None else None
            if listener is None:
                super().__init__(host_name, port, world_size, is_master, *more, **options)
                return
            options["master_listen_fd"] = listener.detach()
            super().__init__(host_name, self_port(options["master_listen_fd"]), world_size, True, *more, **options)

    TCPStore.__module__, TCPStore.__qualname__ = usual.__module__, usual.__qualname__
    return TCPStore


def _listener(port: int) -> socket.socket | None:
    """None where the port is this process's own store's already: torch then shares that one."""
    try:
        return socket.create_server((LOOPBACK, port), backlog=128)
    except OSError:
        return None


def self_port(descriptor: int) -> int:
    """The port of a listening socket."""
    with socket.socket(fileno=descriptor) as listener:
        port = int(listener.getsockname()[1])
        listener.detach()
    return port


sys.meta_path.insert(0, Finder())
