"""MirrorMaker 2: running it, and handing groups over exactly."""
