// Command jsonbench encodes and decodes JSON and renders text templates, again and again.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"reflect"
	"strings"
	"text/template"
)

type person struct {
	Name   string   `json:"name"`
	Age    int      `json:"age"`
	Emails []string `json:"emails"`
}

type order struct {
	ID       int                `json:"id"`
	Customer *person            `json:"customer"`
	Items    []item             `json:"items"`
	Totals   map[string]float64 `json:"totals"`
}

type item struct {
	SKU      string  `json:"sku"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
	Gift     bool    `json:"gift,omitempty"`
}

var invoice = template.Must(template.New("invoice").Funcs(template.FuncMap{"upper": strings.ToUpper}).Parse(
	`{{define "item"}}{{printf "%-12s" .SKU}} {{.Quantity}} x {{printf "%.2f" .Price}}{{if .Gift}} (a gift){{end}}
{{end}}Order {{.ID}} of {{.Customer.Name | upper}}, aged {{.Customer.Age}}
{{range .Customer.Emails}}  mail to {{.}}
{{end}}{{range $i, $it := .Items}}{{$i}}: {{template "item" $it}}{{end}}{{range $k, $v := .Totals}}{{$k}}: {{$v}}
{{end}}`))

func makeOrder(id int) *order {
	o := &order{
		ID:       id,
		Customer: &person{Name: fmt.Sprintf("customer %d", id%97), Age: 18 + id%60},
		Totals:   make(map[string]float64),
	}
	for i := range 1 + id%3 {
		o.Customer.Emails = append(o.Customer.Emails, fmt.Sprintf("c%d.%d@example.com", id, i))
	}
	for i := range 1 + id%20 {
		it := item{SKU: fmt.Sprintf("sku-%d", (id+i)%1000), Quantity: 1 + i%4, Price: float64(100+i*37) / 8, Gift: i%5 == 0}
		o.Items = append(o.Items, it)
		o.Totals["net"] += it.Price * float64(it.Quantity)
	}
	o.Totals["gross"] = o.Totals["net"] * 1.25
	return o
}

// round sends the orders through JSON and the template and returns how many bytes both made.
func round(orders []*order) (int, error) {
	text, err := json.MarshalIndent(orders, "", "\t")
	if err != nil {
		return 0, err
	}
	var typed []*order
	if err := json.Unmarshal(text, &typed); err != nil {
		return 0, err
	}
	if !reflect.DeepEqual(orders, typed) {
		return 0, fmt.Errorf("orders changed on their way through JSON")
	}
	var untyped any
	if err := json.Unmarshal(text, &untyped); err != nil {
		return 0, err
	}
	var out bytes.Buffer
	for _, o := range typed {
		if err := invoice.Execute(&out, o); err != nil {
			return 0, err
		}
	}
	return len(text) + out.Len(), nil
}

func main() {
	n := flag.Int("orders", 600, "orders in a round")
	rounds := flag.Int("rounds", 12, "rounds")
	flag.Parse()

	total := 0
	for r := range *rounds {
		orders := make([]*order, *n)
		for i := range orders {
			orders[i] = makeOrder(r**n + i)
		}
		size, err := round(orders)
		if err != nil {
			log.Fatal(err)
		}
		total += size
	}
	fmt.Println("bytes made:", total)
}
