"""The `vr` command: parse, call one function, print."""
