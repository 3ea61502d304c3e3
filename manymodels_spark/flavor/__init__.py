"""What `mlflow.pyfunc.load_model` loads: a partition's model, and all of a spec's models behind one."""
