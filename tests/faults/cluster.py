"""A cluster of one broker behind a proxy: clients know no other way to it."""

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
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}


class FaultCluster(KafkaCluster):
    """Kafka advertises the proxy, so that no client finds a way around it."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name, directory, settings=_SETTINGS)
        (self._proxy_port,) = free_ports(1)
        (self._address,) = self.addresses
        self.network = Proxy(self._proxy_port, self._address.client_port)
        self.network.start()

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._proxy_port}"

    def kill_and_start_again(self) -> None:
        """As a machine that loses its power and comes back."""
        self.kill_broker(self._address.node)
        self.start_broker(self._address.node)

    def _node_settings(self, address: BrokerAddress) -> dict[str, str]:
        return {
            **super()._node_settings(address),
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
        }
