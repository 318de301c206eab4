"""Damages files of every format, reads them and counts what happens.

  python -m fuzz --cases=20000 --seed=0

Each case is a folder of small undamaged files in which one file is damaged: bits,
bytes, ranges, lengths, numbers, values of JSON, members of archives. A process of its
own reads it. The outcomes:

  equal      the undamaged content was read
  other      other content was read, by a format without checksums
  refused    a `UserError`
  silent     other content was read, though the files have digests      (a failure)
  traceback  any other exception                                        (a failure)
  crash      the process ended                                          (a failure)
  hang       no end within 20 s of CPU time                             (a failure)
  memory     more than twice the undamaged file's, plus 500 MB          (a failure)

The same seed and number give the same case. Failures are kept as folders, which
--replay reads again.
"""

import argparse
import functools
import math
import pathlib
import sys

from fuzz import fuzzer
from fuzz.process import FAILURES


def main():
  parser = argparse.ArgumentParser(
    "fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--cases", type=int, default=20000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--minutes", type=float, default=math.inf, help="stop then")
  parser.add_argument("--readers", default="*", help="globs, such as h5*,pt*")
  parser.add_argument("--keep", default="fuzz-failures", help="folder for failures")
  parser.add_argument("--replay", help="a kept failure, to be read again")
  options = parser.parse_args()
  if options.replay:
    outcome = fuzzer.replay(pathlib.Path(options.replay))
    print(f"{outcome.kind}: {outcome.text}")
    sys.exit(outcome.kind in FAILURES)
  keep, globs = pathlib.Path(options.keep), options.readers.split(",")
  with fuzzer.Fuzzer(globs, options.seed, keep) as made:
    say = functools.partial(print, flush=True)
    counts = made.count(options.cases, options.minutes, say)
  print(fuzzer.table(counts))
  sys.exit(fuzzer.has_failed(counts))


if __name__ == "__main__":
  main()
