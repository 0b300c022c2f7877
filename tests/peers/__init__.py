"""Peers that are not ours: python-opcua, node-opcua, sparkplug-client, pysparkplug, aedes, in environments of their own (.peers/, by `make peers`)."""
