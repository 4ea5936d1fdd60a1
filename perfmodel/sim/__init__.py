"""The simulation: is handed a service time, knows no roofline."""
