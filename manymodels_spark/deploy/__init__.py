"""Bring the files of a deployment folder into a cloud. Each platform is one module; none knows Spark or
MLflow.
"""
