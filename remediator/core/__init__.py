"""The decision, and nothing else: values in, values out.

Only the standard library may be imported here, and of it nothing that reads a clock, the
environment, a file or the network. Time is always an argument named `now`, aware and in UTC.
Reading order: alerts, incidents, actions, facts, policy, reasons, verification, decisions, steps,
guardrails, decide.
"""
