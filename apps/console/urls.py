"""The console's own pages, under /admin/ next to Django's lists and forms. Each page checks its permissions."""

from django.urls import path

import smsgateway.http.converters  # noqa: F401  # registers <ulid:…>
from apps.console.pages.audit_log import act_page, acts_page
from apps.console.pages.callbacks import callback_page, callback_replay_page, callbacks_page
from apps.console.pages.customers import customer_page, status_page
from apps.console.pages.dead_letters import letter_page, letter_replay_page, letters_page
from apps.console.pages.keys import key_create_page, key_revoke_page, key_rotate_page, keys_page
from apps.console.pages.messages import message_page, messages_page
from apps.console.pages.money import adjust_page, ledger_page, threshold_page, top_up_page
from apps.console.pages.operators import operators_page
from apps.console.pages.rates import rates_export_page, rates_import_page
from apps.console.pages.second_factor import account_page, code_page, codes_page, new_page, remove_page
from apps.console.pages.stuck import stuck_page
from apps.console.pages.waiting import message_cancel_page, waiting_cancel_page, waiting_page
from apps.console.sign_on.views import SignOnCallbackView, SignOnView

app_name = "console"
_CUSTOMER = "customers/<ulid:customer_id>/"

urlpatterns = [
    path(_CUSTOMER, customer_page, name="customer"),
    path(_CUSTOMER + "status/", status_page, name="customer-status"),
    path(_CUSTOMER + "topup/", top_up_page, name="topup"),
    path(_CUSTOMER + "adjust/", adjust_page, name="adjust"),
    path(_CUSTOMER + "ledger/", ledger_page, name="ledger"),
    path(_CUSTOMER + "waiting/", waiting_page, name="waiting"),
    path(_CUSTOMER + "waiting/cancel/", waiting_cancel_page, name="waiting-cancel"),
    path(_CUSTOMER + "low-balance/", threshold_page, name="threshold"),
    path(_CUSTOMER + "keys/", keys_page, name="keys"),
    path(_CUSTOMER + "keys/new/", key_create_page, name="key-create"),
    path("keys/<slug:prefix>/rotate/", key_rotate_page, name="key-rotate"),
    path("keys/<slug:prefix>/revoke/", key_revoke_page, name="key-revoke"),
    path("messages/", messages_page, name="messages"),
    path("messages/<ulid:message_id>/", message_page, name="message"),
    path("messages/<ulid:message_id>/cancel/", message_cancel_page, name="message-cancel"),
    path("stuck/", stuck_page, name="stuck"),
    path("callbacks/", callbacks_page, name="callbacks"),
    path("callbacks/<ulid:callback_id>/", callback_page, name="callback"),
    path("callbacks/<ulid:callback_id>/replay/", callback_replay_page, name="callback-replay"),
    path("dead-letters/", letters_page, name="dead-letters"),
    path("dead-letters/<str:place>/", letter_page, name="dead-letter"),
    path("dead-letters/<str:place>/replay/", letter_replay_page, name="dead-letter-replay"),
    path("operators/", operators_page, name="operators"),
    path("rates/import/", rates_import_page, name="rates-import"),
    path("rates/export/", rates_export_page, name="rates-export"),
    path("login/second-factor/", code_page, name="second-factor"),
    path("login/sign-on/", SignOnView.as_view(), name="sign-on"),
    path("login/sign-on/callback/", SignOnCallbackView.as_view(), name="sign-on-callback"),
    path("account/", account_page, name="account"),
    path("account/second-factor/", new_page, name="second-factor-new"),
    path("account/second-factor/remove/", remove_page, name="second-factor-remove"),
    path("account/recovery-codes/", codes_page, name="recovery-codes"),
    path("audit/", acts_page, name="acts"),
    path("audit/<ulid:act_id>/", act_page, name="act"),
]
