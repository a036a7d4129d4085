"""Services and their controllers: how a running application is observed, reconfigured, stopped and started."""
