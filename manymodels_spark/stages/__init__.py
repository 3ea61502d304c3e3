"""The stages of the pipeline, one module each: the only modules that know Spark, Delta and MLflow at once.

Every stage is one function `stage(job) -> StageReport`.
"""
