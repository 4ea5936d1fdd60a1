"""The largest load that a node carries within its SLA."""
