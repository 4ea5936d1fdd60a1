"""Which device is the best for which model and batch size?"""
