"""Files of Caffe, read without Caffe: models, means and network descriptions."""
