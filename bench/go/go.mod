module narrowboat-bench/go

go 1.23
