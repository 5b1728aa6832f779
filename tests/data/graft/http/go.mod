module http

go 1.26
