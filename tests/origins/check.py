"""Our server in front of origins that we did not write: moto's server as another S3 provider, Debian's nginx as a web server.

    check.py --program PATH --check NAME --home DIR [--nginx PATH] [--objects N] [--large-mib N]

Exits with 1 at the first thing that differs.
"""

import argparse
import pathlib
import sys

import ground
import moving
import reads
import web
import writes

CHECKS = {
    "reads": reads.check,
    "writes": writes.check,
    "conditions": writes.conditions,
    "outage": writes.outage,
    "migration": moving.check,
    "web": web.check,
    "cache": web.cache,
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", required=True, type=pathlib.Path)
    arguments.add_argument("--check", required=True, choices=CHECKS)
    arguments.add_argument("--home", required=True, type=pathlib.Path)
    arguments.add_argument("--nginx", type=pathlib.Path)
    arguments.add_argument("--objects", type=int, default=400, help="small ones that are migrated")
    arguments.add_argument("--large-mib", type=int, default=48, help="the size of the largest")
    given = arguments.parse_args()
    try:
        with ground.Ground(given) as place:
            did = CHECKS[given.check](place)
    except ground.Failed as error:
        print(f"{given.check}: {error}", file=sys.stderr)
        return 1
    print(f"{given.check}: {did}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
