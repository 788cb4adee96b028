"""Starts `python3 -m dev VERB`; kept so plain that a Python which is too old can still say so."""

import sys


def main() -> int:
    """Refuse a Python that cannot run us, in words; hand over to `dev.verbs` on any other."""
    if not ((3, 11) <= sys.version_info[:2] <= (3, 13)):
        running = ".".join(str(part) for part in sys.version_info[:3])
        sys.stderr.write(
            f"python3 -m dev: Python 3.11, 3.12 or 3.13 is needed, and this is {running} "
            f"({sys.executable}): run it with one of those, for example `python3.13 -m dev`.\n"
        )
        return 2
    from dev import verbs  # noqa: PLC0415  an old Python cannot even parse it

    return verbs.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
