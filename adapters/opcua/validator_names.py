"""What a certificate says that it is called, compared with whom we wanted to reach."""

from __future__ import annotations

from ipaddress import ip_address

from cryptography import x509

from adapters.opcua.validator_chain import extension


def uris(certificate: x509.Certificate) -> list[str]:
    """ApplicationUris; a proper certificate has exactly one (OPC 10000-6, 6.2.2)."""
    names = extension(certificate, x509.SubjectAlternativeName)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def hosts(certificate: x509.Certificate) -> list[str]:
    """Host names and addresses, as text."""
    names = extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def is_named(certificate: x509.Certificate, host: str) -> bool:
    """Whether the host of the url is one of them. Machines write addresses as DNS names too: that is taken."""
    return any(_same(name, host) for name in hosts(certificate))


def _same(name: str, host: str) -> bool:
    try:
        return ip_address(name) == ip_address(host)
    except ValueError:
        pass
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    label, dot, rest = host.partition(".")
    return name == host or bool(label and dot and "." in rest and name == f"*.{rest}")
