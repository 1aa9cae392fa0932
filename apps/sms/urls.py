from django.urls import path

import smsgateway.http.converters  # noqa: F401  # registers <ulid:…>
from apps.sms.views.callbacks import CallbacksView, CallbackTestView, ReplayView
from apps.sms.views.messages import CancelView, MessagesView, MessageView
from apps.sms.views.receipts import ReceiptView
from apps.sms.views.sends import BatchView, EstimateView, SendView

urlpatterns = [
    path("sms", MessagesView.as_view(), name="sms-list"),
    path("sms/send", SendView.as_view(), name="sms-send"),
    path("sms/batch", BatchView.as_view(), name="sms-batch"),
    path("sms/estimate", EstimateView.as_view(), name="sms-estimate"),
    path("sms/<ulid:message_id>", MessageView.as_view(), name="sms-message"),
    path("sms/<ulid:message_id>/cancel", CancelView.as_view(), name="sms-cancel"),
    path("customers/<ulid:customer_id>/callback/test", CallbackTestView.as_view(), name="callback-test"),
    path("customers/<ulid:customer_id>/callbacks", CallbacksView.as_view(), name="callback-list"),
    path("callbacks/<ulid:callback_id>/replay", ReplayView.as_view(), name="callback-replay"),
    path("operators/<slug:operator>/receipts", ReceiptView.as_view(), name="operator-receipts"),
]
