"""What worker and API tell their operator in one form: lines of a log, reports of errors, spans of traces.

It stands in the contract because both sides must name things alike: who follows a job from the API's lines, reports and
spans to the worker's goes by `job_id`, `trace_id`, `tenant`. No module here imports a library before it is needed.
"""
