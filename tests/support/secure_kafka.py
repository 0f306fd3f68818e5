"""A real broker behind TLS and SCRAM: the embedded one, with a certificate and a user of its own."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from stream.local.kafka import LocalKafka, Say

USER = "leads"
PASSWORD = "scram-password-9f3"
MECHANISM = "SCRAM-SHA-512"

# Put below the broker's usual configuration, where the last word counts. Clients find the secure listener only; the
# broker speaks to itself through it as well.
_SECURE = """\
listeners=SECURE://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SECURE://127.0.0.1:{port}
listener.security.protocol.map=SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SECURE
sasl.enabled.mechanisms={mechanism}
sasl.mechanism.inter.broker.protocol={mechanism}
listener.name.secure.{jaas}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
username="{user}" password="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
"""


class SecureKafka(LocalKafka):
    """One broker whose only listener for clients is SASL_SSL with SCRAM-SHA-512."""

    def __init__(self, folder: Path, say: Say = print) -> None:
        super().__init__(folder, say)
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1")
        self.cafile = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.cafile)
        self._keystore = folder / "broker.pem"
        self._keystore.write_bytes(_pkcs8(leaf) + b"".join(cert.bytes() for cert in leaf.cert_chain_pems))

    def configuration(self) -> str:
        """The usual one, and the secure listener instead of the plain one."""
        return super().configuration() + _SECURE.format(
            port=self.port,
            controller=self.controller_port,
            mechanism=MECHANISM,
            jaas=MECHANISM.lower(),
            user=USER,
            password=PASSWORD,
            keystore=self._keystore,
            truststore=self.cafile,
        )

    def format_options(self) -> list[str]:
        """The user is there from the first moment: the broker itself logs in with it."""
        return ["--add-scram", f"{MECHANISM}=[name={USER},password={PASSWORD}]"]

    def environment(self) -> dict[str, str]:
        """The variables with which every process of ours reaches it."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CAFILE": str(self.cafile),
        }


def _pkcs8(leaf: trustme.LeafCert) -> bytes:
    """The private key in the only form that Kafka reads."""
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
