from django.urls import path

import smsgateway.http.converters  # noqa: F401  # registers <ulid:…>
from apps.balance.views import BalanceView, TransactionsView

urlpatterns = [
    path("customers/<ulid:customer_id>/balance", BalanceView.as_view(), name="customer-balance"),
    path("customers/<ulid:customer_id>/transactions", TransactionsView.as_view(), name="customer-transactions"),
]
