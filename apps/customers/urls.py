from django.urls import path

import smsgateway.http.converters  # noqa: F401  # registers <ulid:…>
from apps.customers.views import EndpointView, RotateSecretView

urlpatterns = [
    path("customers/<ulid:customer_id>/callback", EndpointView.as_view(), name="callback-endpoint"),
    path("customers/<ulid:customer_id>/callback/rotate-secret", RotateSecretView.as_view(), name="callback-secret"),
]
