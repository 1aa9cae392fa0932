package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"example.com/shop/sms"
)

func main() {
	ctx := context.Background()
	withKey := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+os.Getenv("SMS_KEY"))
		return nil
	}
	client, err := sms.NewClientWithResponses(os.Getenv("SMS_URL"), sms.WithRequestEditorFn(withKey))
	if err != nil {
		log.Fatal(err)
	}
	from := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	groupBy, fill := "hour", sms.GetSummaryParamsFill("1")
	summary, err := client.GetSummaryWithResponse(ctx, &sms.GetSummaryParams{
		From: from, To: from.Add(3 * time.Hour), GroupBy: &groupBy, Fill: &fill})
	if err != nil {
		log.Fatal(err)
	}
	rows := summary.JSON200.Rows
	fmt.Println("summary", len(rows), "rows", rows[0].Accepted, rows[0].Hour.UTC().Hour(), summary.JSON200.GroupBy[0])

	wrong, err := client.GetSummaryWithResponse(ctx, &sms.GetSummaryParams{From: from, To: from})
	if err != nil {
		log.Fatal(err)
	}
	problem := wrong.ApplicationproblemJSON400
	fmt.Println("problem", problem.Code, (*problem.Errors)[0].Field)
}
