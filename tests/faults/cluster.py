"""A cluster of one broker behind a proxy: clients know no other way to it, the broker itself does."""

from __future__ import annotations

from pathlib import Path

from tests.faults.proxy import Proxy

from demo.kafka import BrokerAddress, KafkaCluster
from demo.ports import free_ports

_SETTINGS = {
    # A killed member of a group of the newer protocol is missed after 10 s, not 45: about as in the other groups.
    "group.consumer.min.session.timeout.ms": "10000",
    "group.consumer.session.timeout.ms": "10000",
    "group.consumer.min.heartbeat.interval.ms": "3000",
    "group.consumer.heartbeat.interval.ms": "3000",
    # A broker that was killed may come back as soon as its former life has been given up.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}


class FaultCluster(KafkaCluster):
    """Kafka advertises the proxy to clients, so that none finds a way around it."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name, directory, settings=_SETTINGS)
        self._proxy_port, self._own_port = free_ports(2)
        (address,) = self.addresses
        self.network = Proxy(self._proxy_port, address.client_port)
        self.network.start()

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._proxy_port}"

    def _node_settings(self, address: BrokerAddress) -> dict[str, str]:
        settings = super()._node_settings(address)
        own = f"OWN://127.0.0.1:{self._own_port}"
        return {
            **settings,
            "listeners": f"{settings['listeners']},{own}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers},{own}",
            "inter.broker.listener.name": "OWN",
            "listener.security.protocol.map": f"{settings['listener.security.protocol.map']},OWN:PLAINTEXT",
        }
