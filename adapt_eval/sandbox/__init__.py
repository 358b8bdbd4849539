"""Run programs that a model wrote: each in a process of its own, that can only fail.

With bubblewrap (`bwrap`) the kernel contains them: no network device but a dead loopback, no
process visible but its own, a file system that is read-only but for a working directory in memory,
no capabilities, a limit on processes. Run by root, programs become `nobody`. Whatever a program
does to its interpreter, that holds.

A program is judged by another process, which alone knows the checks: it asks the program's process
for what its functions return, and compares that. The program sees arguments, never what is expected
of them, and nothing that it can say is a verdict (`judge.py`). Without checks a program passes that
ends without an exception, which a program can pretend.

With and without bubblewrap, for every program:

- its own session; its process group is killed when the time is over, and again when the program has
  ended;
- limits on CPU time, memory, file size and open files of each process, no core dumps;
- an empty environment, an empty directory as the working directory, no input, output thrown away;

**Without bubblewrap nothing contains a program**, so `adapt-eval run` runs none unless it is told
`--unsafe`. An audit hook of Python then refuses to start processes, to open sockets and to write
outside of the working directory. It stops what models write by accident; whoever knows Python takes
it off: code that imports a fresh copy of a module, or finds its way round the interpreter, has the
rights of the user (of `nobody`, if root runs it and `nobody` may run the interpreter). It can read
and write files, use the network, leave processes behind, and reach into its judge. Use a container
or a machine of its own.

What is not guaranteed, even with bubblewrap:

- A program may read every file that the user may read; it cannot send it anywhere.
- A bubblewrap sandbox shares the kernel with the host.
"""

from adapt_eval.sandbox.limits import Limits
from adapt_eval.sandbox.run import Outcome, Program, Sandbox

__all__ = ["Limits", "Outcome", "Program", "Sandbox"]
