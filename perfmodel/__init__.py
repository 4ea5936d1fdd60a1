"""perfplan: how much recommendation traffic can this hardware serve within its SLA?"""
