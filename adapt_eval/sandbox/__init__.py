"""Run programs that a model wrote: each in a process of its own, that can only fail.

What always holds, for every program:

- its own session, so that signals to its process group reach nobody else; the group is killed when
  the time is over, and again when the program has ended;
- limits on CPU time, wall-clock time, memory, file size and open files, no core dumps;
- an empty environment, an empty directory as the working directory, no input, output thrown away;
- an audit hook of Python that refuses to start processes, to load foreign code through ctypes, to
  open sockets, to signal other processes and to write or delete outside of the working directory;

With bubblewrap (`bwrap`, the default where it is installed and may be used) the kernel enforces
the same: no network device but a dead loopback, no process visible but its own, a file system that
is read-only but for a working directory in memory, no capabilities, a limit on processes. Run by
root, programs become `nobody`.

What is not guaranteed:

- Without bubblewrap the audit hook is what stands between a program and the network, the files and
  the processes of the user (of `nobody`, if root runs it and `nobody` may run the interpreter). It
  stops what models write by accident, not an attacker: code that
  finds a way round the interpreter has the rights of the user. Use a container or a machine of its
  own for models that you do not trust.
- In both, a program may read every file that the user may read; with
  bubblewrap it cannot send it anywhere.
- A program that sets out to forge its verdict can: it shares the interpreter with the code that
  reports it.
- A bubblewrap sandbox shares the kernel with the host.
"""

from adapt_eval.sandbox.limits import Limits
from adapt_eval.sandbox.run import Outcome, Sandbox

__all__ = ["Limits", "Outcome", "Sandbox"]
