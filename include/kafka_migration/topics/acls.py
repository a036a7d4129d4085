"""Who may do what with topics and groups: the ACLs of a cluster, as far as they touch these. It changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from kafka_migration.clusters.client import REQUEST_TIMEOUT, Cluster

_EVERYTHING = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
)
_ALL = "*"


@dataclass(frozen=True, order=True)
class Acl:
    """One rule. `resource`: `topic orders`, `group billing`, or with a star at its end what begins like that."""

    resource: str
    principal: str
    host: str
    permission: str
    operation: str

    def __str__(self) -> str:
        return f"{self.permission} {self.operation} to {self.principal} from {self.host}"


@dataclass(frozen=True)
class Rules:
    """`acls`: those that touch what was asked for. `why`: why none are known; empty where they are."""

    acls: frozenset[Acl]
    why: str = ""


def acls(cluster: Cluster, topics: Collection[str], groups: Collection[str]) -> Rules:
    """The rules that touch these topics and groups. Raises `ClusterError` where the cluster cannot be asked.

    A cluster without an authorizer has none, and the client does not tell that from one with an empty list (measured).
    """
    try:
        found = cluster.admin.describe_acls(_EVERYTHING, request_timeout=REQUEST_TIMEOUT).result(REQUEST_TIMEOUT + 5)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            return Rules(frozenset(), "this user may not see them")
        raise cluster.error(error, "reading the ACLs") from None
    wanted = {ResourceType.TOPIC: topics, ResourceType.GROUP: groups}
    return Rules(frozenset(_told(b) for b in found if _touches(b, wanted.get(b.restype, ()))))


def _touches(binding: AclBinding, names: Collection[str]) -> bool:
    if binding.resource_pattern_type == ResourcePatternType.PREFIXED:
        return any(name.startswith(binding.name) for name in names)
    return bool(names) and (binding.name == _ALL or binding.name in names)


def _told(binding: AclBinding) -> Acl:
    star = _ALL if binding.resource_pattern_type == ResourcePatternType.PREFIXED else ""
    return Acl(
        f"{binding.restype.name.lower()} {binding.name}{star}",
        binding.principal,
        binding.host,
        binding.permission_type.name.lower(),
        binding.operation.name.lower(),
    )
