"""A TCP proxy that spoils the connection on purpose: the network between a machine and its reader, as it really is.

It knows no protocol, so any TCP peer can stand behind it, and it looks at bytes where neither peer's library can colour
them. Use `simulators.proxy.server.open_proxy` in tests, `python -m simulators proxy` from anything else.
"""
