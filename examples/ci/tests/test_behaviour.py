from my_optimizers import Lion


def test_lion_behaves_as_recorded(synthbench_check):
    synthbench_check("lion", optimizer=Lion)
