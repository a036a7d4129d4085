"""The live shop: its topics and services, real processes that supervisor runs as it would a user's own."""

from demo.shop.lifecycle import ServiceStatus, Shop, ShopError
from demo.shop.supervisor import SupervisorConnection

__all__ = ["ServiceStatus", "Shop", "ShopError", "SupervisorConnection"]
