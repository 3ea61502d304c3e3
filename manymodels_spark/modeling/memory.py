"""How many bytes a model takes in memory, and a cache of models that keeps within a bound of them."""

from __future__ import annotations

import gc
import sys
import threading
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Generic, TypeVar

V = TypeVar("V")

# What all models share: never counted, never followed.
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


def measure(root: Any) -> int:
    """Bytes of an object and of all that only it leads to: arrays by their buffers, classes and code not
    counted.
    """
    seen: set[int] = set()
    stack, total = [root], 0
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, _SHARED):
            continue
        seen.add(id(value))
        total += sys.getsizeof(value, 0)
        stack.extend(gc.get_referents(value))
    return total


class LruBytes(Generic[V]):
    """Values by name, at most `limit` bytes of them (as `measure` counts): the least recently used go first.

    The newest value always stays, however large. All methods may be called from any thread.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> V | None:
        """The value, now the most recently used, or None."""
        with self._lock:
            if name not in self._values:
                return None
            self._values.move_to_end(name)
            return self._values[name][0]

    def put(self, name: str, value: V) -> None:
        """Keep a value, in place of what the name had."""
        size = measure(value)
        with self._lock:
            self.bytes += size - self._values.pop(name, (None, 0))[1]
            self._values[name] = (value, size)
            while self.bytes > self.limit and len(self._values) > 1:
                self.bytes -= self._values.popitem(last=False)[1][1]
