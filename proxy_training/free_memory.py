"""How much memory there is to train in: a GPU's own, or what the machine and its control group leave."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import torch

# Of a control group, versions 2 and 1: files with its limit and its use in bytes, and the line of memory.stat with what
# of that use is files that the kernel forgets when memory is wanted.
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_GROUP_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))


def free_bytes(device: torch.device) -> int:
    """Bytes that can be taken on ``device`` at this moment."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return free_host_bytes()


def free_host_bytes(proc: Path = Path("/proc"), group_roots: tuple[Path, ...] = _GROUP_ROOTS) -> int:
    """Bytes that this process can take without swapping or being killed for it.

    Args:
        proc, group_roots: where the kernel tells of itself.
    """
    left = [_available(proc / "meminfo")]
    for root in group_roots:
        for path in _group_paths(proc / "self" / "cgroup"):
            below = PurePosixPath(path.lstrip("/"))
            # Groups around this one limit it, too; and a container sees its own at the root, whatever its path outside.
            left += [free for folder in (below, *below.parents) for free in _left_in_group(root / folder)]
    return max(0, min(left))


def _available(meminfo: Path) -> int:
    for line in meminfo.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    raise OSError(f"{meminfo} does not tell MemAvailable")


def _group_paths(file: Path) -> list[str]:
    """The groups of this process that may limit memory."""
    try:
        lines = [line.split(":", 2) for line in file.read_text().splitlines()]
    except OSError:
        return []
    return [path for _, controllers, path in lines if controllers == "" or "memory" in controllers.split(",")]


def _left_in_group(folder: Path) -> list[int]:
    for limit_name, use_name, forgettable in _GROUP_FILES:
        try:
            limit, use = (folder / limit_name).read_text().strip(), (folder / use_name).read_text().strip()
        except OSError:
            continue
        return [] if limit == "max" else [int(limit) - int(use) + _counted(folder / "memory.stat", forgettable)]
    return []


def _counted(stat: Path, name: str) -> int:
    try:
        pairs = [line.split() for line in stat.read_text().splitlines()]
    except OSError:
        return 0
    return next((int(value) for key, value in pairs if key == name), 0)
