"""The engine: events, the log they stand in, the state they fold to, and the stores that keep them.

Imports nothing else of eventcore but its errors. What users see of it is re-exported by `eventcore`.
"""
