"""The local stack and its two commands: `python3 -m dev demo` and `python3 -m dev test`."""
