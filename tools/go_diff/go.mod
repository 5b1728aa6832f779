module gomem/tools/go_diff

go 1.24
