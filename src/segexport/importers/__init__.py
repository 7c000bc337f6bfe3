"""What people have: folders of PaddleSeg and PaddleX, old and new, and the files in them that say how to preprocess."""
