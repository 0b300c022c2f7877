"""Knows what a measurement is: pure code without asyncio, sockets, clock or logging (DESIGN section 2)."""
