"""What train.py adds to `paddle.Model.fit`. Imports the parts, `films`, `weights`, `runtime`."""
