import createClient from "openapi-fetch";
import type { paths } from "./sms.js";

const client = createClient<paths>({
  baseUrl: process.env["SMS_URL"] ?? "",
  headers: { Authorization: `Bearer ${process.env["SMS_KEY"]}` },
});
const from = "2026-11-01T09:00:00Z";
const { data } = await client.GET("/v1/stats/summary", {
  params: { query: { from, to: "2026-11-01T12:00:00Z", group_by: "hour", fill: "1" } },
});
const row = data?.rows[0];
console.log("summary", data?.rows.length, "rows", row?.accepted, new Date(row?.hour ?? "").getUTCHours(), data?.group_by[0]);

const { error } = await client.GET("/v1/stats/summary", { params: { query: { from, to: from } } });
console.log("problem", error?.code, error?.errors?.[0]?.field);
